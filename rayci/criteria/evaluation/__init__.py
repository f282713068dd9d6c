"""Many questions in few forward passes: options of a question together, shared beginnings computed once."""
