"""The app: a module for each tab, `page` that puts them together, and what only the app needs."""
