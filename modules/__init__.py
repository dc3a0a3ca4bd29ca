"""Everything around the network: options, data, preparation, training, generation, metrics, files on disk."""
