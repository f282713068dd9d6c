"""What a sweep will take, told before anything runs: disk, memory, hours, money."""
