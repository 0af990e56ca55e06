"""Builders of garments: each turns a `Cut` into marks to draw."""
