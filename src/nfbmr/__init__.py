"""nfbmr finds defects on products after seeing only good ones."""
