"""A transformers model as the rest of the project sees it: its blocks and linears, loading, encoding, likelihoods."""
