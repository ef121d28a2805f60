"""What runs measured: packed storage and downsampling."""
