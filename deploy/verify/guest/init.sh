#!/bin/busybox sh
# The first program of the guest, in its initramfs: mounts the machine's root read-only under a tmpfs, and runs one
# command in it. The kernel command line carries nothing; the command comes in /job on the writable share.
export PATH=/bin
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
for module in virtio_pci 9pnet_virtio 9p overlay; do modprobe "$module"; done

mkdir -p /machine /share /memory /root
mount -t 9p -o trans=virtio,version=9p2000.L,msize=512000,cache=loose,ro machine /machine
mount -t 9p -o trans=virtio,version=9p2000.L,msize=512000 share /share
mount -t tmpfs -o size=1g memory /memory
mkdir /memory/upper /memory/work
mount -t overlay -o lowerdir=/machine,upperdir=/memory/upper,workdir=/memory/work root /root

mkdir -p /root/share /root/lib/modules
mount --move /share /root/share
mount -t tmpfs modules /root/lib/modules
mkdir "/root/lib/modules/$(uname -r)"
. /root/share/settings
mount --bind "/root$MODULES" "/root/lib/modules/$(uname -r)"
mount -t tmpfs tmp /root/tmp
mount -t tmpfs run /root/run
rm -f /root/sbin/modprobe
ln -s /bin/busybox /root/sbin/modprobe
for place in proc sys dev; do mount --move "/$place" "/root/$place"; done
exec switch_root /root /bin/sh /share/job
