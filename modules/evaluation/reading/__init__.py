"""Files of reports, in any layout, read for what they are; their rows matched study by study."""
