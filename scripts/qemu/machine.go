// Package qemu starts a Sealbay image in a virtual machine, shows its console
// and brings back what its job handed over.
package qemu

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Bus is how a drive is attached.
type Bus string

// The buses that the image has drivers for.
const (
	VirtioBlk Bus = "virtio-blk" // /dev/vda, vdb, ...
	NVMe      Bus = "nvme"       // /dev/nvme0n1, nvme1n1, ...
	AHCI      Bus = "ahci"       // /dev/sda, sdb, ...
)

// Drive is a drive of the machine, backed by a file.
type Drive struct {
	Path   string
	Bus    Bus
	Serial string
}

// Machine is a virtual machine to start.
type Machine struct {
	Image   string        // folder with the image's kernel and initramfs
	Extra   string        // path of a second initramfs archive, or ""
	Cmdline []string      // added to the kernel's command line
	Drives  []Drive       //
	Console io.Writer     // gets all that the machine prints
	Fancy   bool          // Console is a terminal: programs may colour and overwrite lines
	Limit   time.Duration // how long it may run
}

const (
	memory = "1536M"
	cpus   = "2"
)

// Run starts the machine with that accelerator, waits for its end and returns
// what its job answered. An error means that it did not get to the end of its
// job: the console says why.
func (m Machine) Run(ctx context.Context, accel Accel) (Answer, error) {
	dir, err := os.MkdirTemp("", "sealbay-vm-")
	if err != nil {
		return Answer{}, err
	}
	defer os.RemoveAll(dir)
	initrd, err := m.initrd(dir)
	if err != nil {
		return Answer{}, err
	}
	answer := filepath.Join(dir, "answer.tar")
	ctx, cancel := context.WithTimeout(ctx, m.Limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, m.args(accel, initrd, answer)...)
	var stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &unixLines{w: m.Console}, &stderr
	cmd.WaitDelay = 5 * time.Second
	err = cmd.Run()
	if ctx.Err() == context.DeadlineExceeded {
		return Answer{}, fmt.Errorf("the machine did not end within %v", m.Limit)
	}
	if err != nil {
		reason, _, _ := strings.Cut(stderr.String(), "\n")
		return Answer{}, fmt.Errorf("qemu: %w: %s", err, reason)
	}
	return readAnswer(answer)
}

// initrd is the image's archive, with Extra behind it.
func (m Machine) initrd(dir string) (string, error) {
	base := filepath.Join(m.Image, "initramfs.cpio")
	if m.Extra == "" {
		return base, nil
	}
	joined := filepath.Join(dir, "initramfs.cpio")
	out, err := os.Create(joined)
	if err != nil {
		return "", err
	}
	for _, path := range []string{base, m.Extra} {
		in, err := os.Open(path)
		if err != nil {
			return "", errors.Join(err, out.Close())
		}
		_, err = io.Copy(out, in)
		in.Close()
		if err != nil {
			return "", errors.Join(err, out.Close())
		}
	}
	return joined, out.Close()
}

// args is QEMU's command line. panic=-1 with -no-reboot: a kernel panic ends
// the machine. no_timer_check: on a busy host an emulated timer may tick too
// late for the kernel's trial of it, which ends in a panic.
func (m Machine) args(accel Accel, initrd, answer string) []string {
	cmdline := append([]string{"console=ttyS0", "panic=-1", "loglevel=4", "no_timer_check"}, m.Cmdline...)
	if !m.Fancy {
		cmdline = append(cmdline, "TERM=dumb") // into the environment of PID 1 and all it starts
	}
	args := []string{
		"-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-machine", "q35", "-m", memory, "-smp", cpus,
		"-kernel", filepath.Join(m.Image, "vmlinuz"), "-initrd", initrd, "-append", strings.Join(cmdline, " "),
		"-serial", "stdio", "-device", "virtio-rng-pci",
		"-device", "virtio-serial-pci", "-chardev", "file,id=host,path=" + answer, "-device", "virtserialport,chardev=host,name=sealbay.host",
	}
	args = append(args, accel.args()...)
	for i, d := range m.Drives {
		args = append(args, d.args(i)...)
	}
	return args
}

func (d Drive) args(i int) []string {
	node := "drive" + strconv.Itoa(i)
	device := map[Bus]string{
		VirtioBlk: "virtio-blk-pci", NVMe: "nvme", AHCI: "ide-hd,bus=ide." + strconv.Itoa(i),
	}[d.Bus]
	return []string{
		"-blockdev", "driver=raw,discard=unmap,node-name=" + node + ",file.driver=file,file.filename=" + strings.ReplaceAll(d.Path, ",", ",,"),
		"-device", device + ",drive=" + node + ",serial=" + d.Serial,
	}
}

// unixLines turns a serial console's line ends, "\r\n", into "\n". A carriage
// return alone overwrites the line and stays.
type unixLines struct {
	w    io.Writer
	held bool // a "\r" that ended the last write
}

func (u *unixLines) Write(p []byte) (int, error) {
	text := string(p)
	if u.held {
		text = "\r" + text
	}
	text, u.held = strings.CutSuffix(text, "\r")
	_, err := io.WriteString(u.w, strings.ReplaceAll(text, "\r\n", "\n"))
	return len(p), err
}
