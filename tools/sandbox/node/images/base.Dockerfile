# A plain Debian with Python, of which the project's images are built where no registry is at hand.
FROM scratch
ADD rootfs.tar /
CMD ["python3"]
