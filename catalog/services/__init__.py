"""The write path: functions that change several rows, or rows and files. API, pages, admin and commands call them."""
