// A Debian system with the network's usual programs. Its init is a shell on the console: systemd takes longer to come up
// than all that the tests do then.
import { debianRootfs } from './rootfs.ts';

const PACKAGES = ['iproute2', 'iputils-ping', 'ifupdown', 'isc-dhcp-client', 'netbase', 'openssh-server', 'curl', 'nmap'];

export const NETWORK_INIT = '/usr/sbin/console-init';
const INIT = `#!/bin/sh
export HOME=/root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
mount -o remount,rw /
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
for dir in /run /tmp /dev/shm; do mount -t tmpfs tmpfs $dir; done
mkdir /run/sshd /run/network
cd /root
while :; do setsid -w sh -c 'exec sh -i </dev/hvc0 >/dev/hvc0 2>&1'; done
`;

export const debianNetworkImage = (): string => debianRootfs({
  packages: PACKAGES, sizeMiB: 700,
  files: {
    [NETWORK_INIT]: INIT,
    '/etc/network/interfaces': 'auto lo eth0\niface lo inet loopback\niface eth0 inet dhcp\niface eth0 inet6 auto\n',
  },
});
