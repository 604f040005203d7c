"""What clients, people and monitors see of a daemon: HTTP, the checks of a request, the page."""
