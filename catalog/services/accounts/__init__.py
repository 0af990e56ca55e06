"""User accounts: sign-up, devices and sessions, passwords, favourites, data export."""
