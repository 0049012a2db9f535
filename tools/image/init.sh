#!/bin/busybox sh
# The demo's init: mounts the kernel's file systems, loads the drivers of the disk and the network, then runs the
# command it was given (/etc/xenolith/exec) or a shell on the console.
/bin/busybox --install -s /bin
export PATH=/sbin:/bin HOME=/root TERM="${TERM:-linux}"
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs tmp /tmp
hostname demo

while read -r module; do insmod "/lib/modules/$module.ko"; done </etc/xenolith/modules

# The terminal: xenolith.tty=NAME, else the last console= that exists, else the first of the usual ones.
tty=
read -r cmdline </proc/cmdline
for word in $cmdline; do
  case $word in
    console=*) name=${word#console=}; name=${name%%,*}; [ -c "/dev/$name" ] && tty=$name ;;
    xenolith.tty=*) chosen=${word#xenolith.tty=} ;;
    root=/dev/*) root=${word#root=} ;;
    init=*) init=${word#init=} ;;
    ro) mode=ro ;;
    ip=off) network=off ;;
  esac
done
[ -n "$chosen" ] && [ -c "/dev/$chosen" ] && tty=$chosen
for name in hvc0 ttyS0 tty1; do [ -z "$tty" ] && [ -c "/dev/$name" ] && tty=$name; done
[ -n "$tty" ] || tty=console

# Disks appear a moment after their driver; wait for those that are announced.
for vbd in /sys/bus/xen/devices/vbd-*; do
  [ -e "$vbd" ] || continue
  n=0
  while [ ! -d "$vbd/block" ] && [ $n -lt 100 ]; do n=$((n + 1)); usleep 50000; done
done

# root=/dev/... on the kernel's command line: a system of its own is on that disk.
if [ -n "$root" ]; then
  mkdir -p /newroot
  if mount -o "${mode:-rw}" "$root" /newroot; then
    for fs in proc sys dev; do mount --move /$fs /newroot/$fs; done
    exec switch_root /newroot "${init:-/sbin/init}"
  fi
  echo "xenolith: $root cannot be mounted; here is a shell instead" >"/dev/$tty"
fi

# The network: an address for each interface, unless ip=off. Where nobody hands out any, it goes on without soon.
ip link set lo up
for vif in /sys/bus/xen/devices/vif-*; do
  [ -e "$vif" ] && [ "$network" != off ] || continue
  n=0
  while [ ! -d "$vif/net" ] && [ $n -lt 100 ]; do n=$((n + 1)); usleep 50000; done
  for name in "$vif"/net/*; do
    name=${name##*/}
    ip link set "$name" up
    udhcpc -i "$name" -s /etc/xenolith/udhcpc -t 4 -T 1 -A 1 -b >/dev/null 2>&1
  done
done

if [ -f /etc/xenolith/exec ]; then
  read -r mark </etc/xenolith/mark
  dmesg -n 1
  stty -opost -echo <"/dev/$tty"
  exec >"/dev/$tty" 2>&1 </dev/null
  printf '\n<<%s stdout>>' "$mark"
  setsid sh /etc/xenolith/exec 2>/tmp/.stderr
  status=$?
  printf '<<%s stderr>>' "$mark"
  cat /tmp/.stderr
  printf '<<%s status %s>>\n' "$mark" "$status"
  stty opost <"/dev/$tty"
  exec /sbin/poweroff
fi

exec <"/dev/$tty" >"/dev/$tty" 2>&1
kernel=$(uname -r)
printf '\nXenolith demo: Linux %s on %s\n\n' "$kernel" "$tty"
for disk in /sys/block/xvd*; do
  [ -e "$disk" ] || continue
  read -r sectors <"$disk/size"
  printf '  /dev/%s is a disk of %s MiB. Nothing is mounted; for example:\n' "${disk##*/}" $((sectors / 2048))
  printf '    mke2fs /dev/%s          (once: makes a file system, erasing what is there)\n' "${disk##*/}"
  printf '    mount /dev/%s /mnt\n' "${disk##*/}"
done
for address in $(ip -4 -o addr show scope global | while read -r _ name _ address _; do echo "$name:$address"; done); do
  printf '  %s has the address %s by DHCP.\n' "${address%%:*}" "${address#*:}"
done
printf '  "poweroff", or leaving the shell, shuts the machine down.\n\n'
setsid sh -c "exec cttyhack sh -l <'/dev/$tty' >'/dev/$tty' 2>&1" || setsid sh -l
exec /sbin/poweroff
