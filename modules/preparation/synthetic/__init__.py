"""SynthCXR: drawn radiographs with reports, labels and masks."""
