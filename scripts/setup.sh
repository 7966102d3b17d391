#!/usr/bin/env bash
# Installs what Sealbay's builds and tests need on Debian 12 or newer. It says
# what it installs and why, changes nothing when all is there (about a second,
# no network), and may be run any number of times.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# One package a line, then why it is needed. Keep the reason: it is printed.
packages() {
	cat <<-'LIST'
		ca-certificates    the Go module proxy over TLS
		make               the targets of the Makefile
		git                version stamps and the tests' view of what is committed
		xz-utils           unpacks Debian's kernel package
		qemu-utils         qemu-img, reads and compares disk images in tests
		e2fsprogs          mkfs.ext4 and debugfs for the boot drive's partition
		util-linux         losetup and blkid, loop devices in tests
		fdisk              sfdisk, partitions the boot drive of make run
		kmod               depmod, judge of the image's module tables
		cpio               judge of the initramfs
		iproute2           network namespaces in tests
		cryptsetup-bin     the other LUKS2 implementation, judge of our format
		dmsetup            power cuts and errors of a drive, in the box's kernel
		fio                the other bench, judge of our I/O engine
		openssl            the other AES-XTS, judge of our cipher
		python3-pykmip     a real KMIP server for the keyring's tests
		strace             looks for keys in system calls
		bpftrace           the other tracer, judge of our probes
		clang              builds the BPF objects of bench/probe
		llvm               strips the BPF objects of bench/probe
		qemu-user          runs the arm64 cipher's tests
		python3-cryptography-vectors  NIST's CAVP vectors of AES-XTS
		python3-minimal    drives OpenSSL's EVP, judge of our cipher
		libssl3            that EVP
		gcc                the race detector (cgo)
		libc6-dev          the race detector (cgo)
		jq                 reads result files in scripts
		curl               speaks the daemon's REST over its socket in tests
		procps             pgrep and ps in tests
	LIST
}

# QEMU below this corrupts guests under software emulation.
qemu_min=10

say() { printf 'setup: %s\n' "$*"; }
die() { printf 'setup: %s\n' "$*" >&2; exit 1; }

check_go() {
	local want have
	want=$(awk '$1 == "go" {print $2; exit}' go.mod)
	command -v go >/dev/null || die "Go is missing: install Go $want or newer (https://go.dev/dl) and put it on PATH"
	have=$(GOTOOLCHAIN=local go env GOVERSION) || die "go env GOVERSION failed: is $(command -v go) a Go toolchain?"
	have=${have#go}
	[ "$(printf '%s\n' "$want" "${have%%[!0-9.]*}" | sort -V | head -n 1)" = "$want" ] ||
		die "Go $have is too old: go.mod asks for $want or newer (https://go.dev/dl)"
}

check_root() {
	[ "$(id -u)" = 0 ] || die "needs root to install packages and, in tests, to use loop devices: run it with sudo or as root"
}

check_system() {
	command -v apt-get >/dev/null || die "knows Debian 12 and newer only; install these yourself: $(packages | awk '{print $1}' | xargs) qemu-system-x86 (>= $qemu_min)"
	[ "$(dpkg --print-architecture)" = amd64 ] || die "the image is built and run on amd64; this machine is $(dpkg --print-architecture)"
}

installed() { [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }

missing() {
	packages | while read -r name reason; do
		installed "$name" || printf '%s\t%s\n' "$name" "$reason"
	done
}

qemu_major() {
	qemu-system-x86_64 --version 2>/dev/null | sed -n 's/^QEMU emulator version \([0-9]*\)\..*/\1/p'
}

qemu_good() { [ "$(qemu_major | grep . || echo 0)" -ge "$qemu_min" ]; }

# pinned prints kernel.lock's package and version.
pinned() { awk '$1 == "package" {p = $2} $1 == "version" {v = $2} END {print p, v}' image/kernel/kernel.lock; }

# kernel_known: apt, or the cache of an earlier build, can give a 6.12 kernel.
kernel_known() {
	local package version cache=${SEALBAY_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/sealbay}
	[ -z "${KERNEL_DEB:-}${KERNEL_MIRROR:-}" ] || return 0
	[ -f image/kernel/kernel.lock ] || return 0
	read -r package version < <(pinned)
	compgen -G "$cache/kernel/${package}_${version}_*" >/dev/null || apt-cache show "$package=$version" >/dev/null 2>&1 ||
		apt-cache pkgnames linux-image-6.12. | grep . >/dev/null
}

# No grep -q: it leaves at once, and apt's death of the broken pipe would count.
has_backports() { apt-get indextargets --format '$(RELEASE)' 'Created-By: Packages' | grep -x bookworm-backports >/dev/null; }

# backports_entry FILE prints FILE's entry for bookworm main, of either of apt's
# formats, with the suite replaced: mirror, keyring and options stay as they are.
backports_entry() {
	case $1 in
	*.sources) awk 'BEGIN {RS = ""}
		/(^|\n)Types:[^\n]*deb([ \t\n]|$)/ && /(^|\n)Suites:[^\n]*[ \t]bookworm([ \t\n]|$)/ && !/(^|\n)Enabled:[ \t]*no/ {
			sub(/Suites:[^\n]*/, "Suites: bookworm-backports"); sub(/Components:[^\n]*/, "Components: main"); print; exit
		}' "$1" ;;
	*) sed -nE '/^deb[ \t]/ s/^(deb[ \t]+(\[[^]]*\][ \t]+)?[^ \t]+)[ \t]+bookworm[ \t].*/\1 bookworm-backports main/p' "$1" | head -n 1 ;;
	esac
}

# On Debian 12 QEMU and the 6.12 kernel stand in the backports suite. Its entry
# is made from the one that apt already uses for bookworm itself. Apt tells only
# of suites whose lists it has, hence an update before and after.
add_backports() {
	local from list parts
	. /etc/os-release
	[ "${VERSION_CODENAME:-}" = bookworm ] || return 0
	! has_backports || return 0
	from=$(apt-get indextargets --format '$(RELEASE) $(COMPONENT) $(SOURCESENTRY)' 'Created-By: Packages' |
		awk '$1 == "bookworm" && $2 == "main" {sub(/:[0-9]+$/, "", $3); print $3; exit}') || true # said in the next line
	[ -n "$from" ] || die "apt has no entry for bookworm main to derive the backports suite from: add one to /etc/apt/sources.list"
	eval "$(apt-config shell parts Dir::Etc::sourceparts/d)"
	list=${parts}sealbay-backports.${from##*.}
	backports_entry "$from" >"$list"
	apt_get update
	has_backports || { rm -f "$list"; die "cannot derive the backports suite from $from: add bookworm-backports main to apt yourself"; }
	say "added $list (backports of the mirror in $from, for QEMU and the kernel)"
}

apt_get() {
	DEBIAN_FRONTEND=noninteractive DEBCONF_NOWARNINGS=yes apt-get -y -q -o Dpkg::Use-Pty=0 "$@" >/dev/null || die "apt-get $1 failed, for the reason above"
}

install_missing() {
	local names suite=()
	names=$(missing | cut -f 1)
	missing | while IFS=$'\t' read -r name reason; do say "installing $name: $reason"; done
	[ -z "$names" ] || apt_get install --no-install-recommends $names
	qemu_good && return 0
	! has_backports || suite=(-t bookworm-backports)
	say "installing qemu-system-x86: boots the image, for make run and the VM tests"
	apt_get install --no-install-recommends "${suite[@]}" qemu-system-x86
	qemu_good || die "apt offers QEMU $(qemu_major | grep . || echo none) only, needed is $qemu_min or newer: older ones corrupt guests under software emulation"
}

[ "${BASH_SOURCE[0]}" = "$0" ] || return 0
check_go
check_root
check_system
if [ -z "$(missing)" ] && qemu_good && kernel_known; then
	say "everything is installed"
	exit 0
fi
say "updating the package lists"
apt_get update
add_backports
install_missing
kernel_known || die "apt offers no 6.12 kernel (linux-image-6.12.*-amd64): set KERNEL_DEB=path or KERNEL_MIRROR=url"
say "done"
