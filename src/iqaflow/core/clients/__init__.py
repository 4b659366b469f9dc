"""Programs and servers that are asked: git, and HTTP with retries."""
