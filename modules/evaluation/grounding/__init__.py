"""Where maps point: beside drawn masks and boxed findings."""
