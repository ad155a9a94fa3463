"""``python -m mlx.launch -n 4 program.py``: a program as several processes (see :mod:`mlx.core.distributed`)."""

from mlx._distributed_utils.launch import main

if __name__ == "__main__":
    main()
