"""From a command line to options: flags by group, which program reads them, and what the data set changes of them."""
