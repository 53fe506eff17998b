# newer_root.sh FILES COMMAND...: becomes COMMAND in a root made of FILES, read-only, with the temporary directory, which
# has one path everywhere. Called in a mount namespace of its own; so the root vanishes with the command.
set -eu
files=$1
shift
tree=$LONGSHORE_TEST_DIR/newer-root temporary=${TMPDIR:-/tmp}

# A mount of its own, since an engine mounts its root again. /run must be writable and nobody else's.
mkdir -p "$tree"
mount -t tmpfs tmpfs "$tree"
mkdir -p "$tree"/{usr,etc,proc,dev,sys,run/lock,var/lib} "$tree$temporary"
for name in bin sbin lib lib64; do ln -s "usr/$name" "$tree/$name"; done
ln -s /run "$tree/var/run"
for name in usr etc; do
    mount --bind "$files/$name" "$tree/$name"
    mount -o remount,bind,ro "$tree/$name"
done
[[ ! -d $tree/etc/docker ]] || mount --bind /etc/docker "$tree/etc/docker"
for name in proc dev sys; do mount --rbind "/$name" "$tree/$name"; done
mkdir -p -m 1777 "$tree/tmp"
mount --bind "$temporary" "$tree$temporary"

# Not by chroot: whoever enters the namespace of a container later would come out at the machine's own root.
mkdir "$tree/old-root"
cd "$tree"
pivot_root . old-root
umount -l /old-root
exec /usr/bin/env -u TMPDIR PATH="$LONGSHORE_TEST_DIR/newer-bin:/usr/sbin:/usr/bin" LC_ALL=C.UTF-8 "$@"
