"""The commands of `parley`, one module each; `parley.catalogue` lists them."""
