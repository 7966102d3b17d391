package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"sealbay/image"
	"sealbay/image/initramfs"
	"sealbay/scripts/qemu"
)

type options struct {
	image string
	limit time.Duration
	pack  []string
	test  string   // path of the test binary
	args  []string // its flags
}

// guestDir is the package's folder inside the machine.
const guestDir = "/test"

// drives are blank for each run.
var drives = []qemu.Drive{
	{Bus: qemu.VirtioBlk, Serial: "VM-VIRTIO-1"},
	{Bus: qemu.NVMe, Serial: "VM-NVME-1"},
	{Bus: qemu.AHCI, Serial: "VM-AHCI-1"},
}

const driveBytes = 256 << 20

// runTest runs the test in a machine of its own and returns its exit code.
func runTest(ctx context.Context, o options, console io.Writer) (int, error) {
	out, err := findOut()
	if err != nil {
		return 0, err
	}
	if o.image == "" {
		o.image = filepath.Join(out, "image")
	}
	if _, err := os.Stat(filepath.Join(o.image, image.InitramfsFile)); err != nil {
		return 0, fmt.Errorf("no image: run make image (%w)", err)
	}
	dir, err := os.MkdirTemp("", "vmrun-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	m := qemu.Machine{Image: o.image, Cmdline: []string{"sealbay.perm=none", "sealbay.job=vmrun"}, Console: console, Limit: o.limit}
	if m.Extra, err = packTest(dir, o); err != nil {
		return 0, err
	}
	if m.Drives, err = blankDrives(dir); err != nil {
		return 0, err
	}
	accel, _, err := qemu.PickAccel(ctx, o.image, filepath.Join(out, "accel"))
	if err != nil {
		return 0, err
	}
	answer, err := m.Run(ctx, accel)
	return answer.Exit, err
}

// findOut returns the checkout's folder for what is built.
func findOut() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for ; dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return filepath.Join(dir, "out"), nil
		}
	}
	return "", errors.New("not inside a checkout: no go.mod above the working folder")
}

func blankDrives(dir string) ([]qemu.Drive, error) {
	made := make([]qemu.Drive, len(drives))
	for i, d := range drives {
		d.Path = filepath.Join(dir, d.Serial)
		if err := qemu.BlankDrive(d.Path, driveBytes); err != nil {
			return nil, err
		}
		made[i] = d
	}
	return made, nil
}

// packTest writes the archive with the test, its files and its job.
func packTest(dir string, o options) (string, error) {
	binary := path.Join(guestDir, filepath.Base(o.test))
	files := []initramfs.File{
		{Name: binary, Mode: 0o755, From: o.test},
		{Name: "/etc/sealbay/vmrun.job", Mode: 0o644, Data: []byte(job(binary, o.args))},
	}
	data, err := testdata("testdata")
	if err != nil {
		return "", err
	}
	programs, err := packPrograms(o.pack)
	if err != nil {
		return "", err
	}
	archive := filepath.Join(dir, "test.cpio")
	f, err := os.Create(archive)
	if err != nil {
		return "", err
	}
	files = append(append(files, data...), programs...)
	return archive, errors.Join(initramfs.Write(f, files), f.Close())
}

// job is what the machine does (appliance/boot). SEALBAY_VM tells the test
// where it runs.
func job(binary string, args []string) string {
	words := []string{strconv.Quote(binary)}
	for _, arg := range args {
		words = append(words, strconv.Quote(arg))
	}
	return "wait-for /dev/vda /dev/nvme0n1 /dev/sda\nset SEALBAY_VM 1\ncd " + guestDir + "\n" + strings.Join(words, " ") + "\n"
}

// testdata takes the package's files along: go test starts us in its folder.
func testdata(root string) ([]initramfs.File, error) {
	var files []initramfs.File
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) && name == root {
			return nil
		}
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		files = append(files, initramfs.File{Name: path.Join(guestDir, filepath.ToSlash(name)), Mode: 0o644, From: name})
		return nil
	})
	return files, err
}
