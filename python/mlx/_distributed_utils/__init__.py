"""What starts programs of several processes: ``mlx.launch`` and ``mlx.distributed_config``."""
