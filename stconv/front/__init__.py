"""The front door in Python; `import stconv` names its functions, and the command line calls them too."""
