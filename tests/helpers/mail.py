"""Wait for the thread that sends mails."""

from catalog.services.accounts import passwords


def wait_for_mails() -> None:
    """Return when the mails requested so far have been sent: one thread sends them in order."""
    passwords._mail_thread.submit(int).result()
