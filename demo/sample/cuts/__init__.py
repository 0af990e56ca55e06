"""How garments are cut: each builder turns a `Cut` into marks."""
