"""HTTP/1.1 as a client asks it, down to the connection: for hops where a general client costs more than all else."""
