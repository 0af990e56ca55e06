"""What changes several rows, or rows and files. The API, the pages, the admin and the commands all call these."""
