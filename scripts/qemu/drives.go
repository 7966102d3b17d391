package qemu

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
)

// BlankDrive makes a sparse file of zeros, replacing what was there.
func BlankDrive(path string, size int64) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Truncate(size), f.Close())
}

// PermLabel is the label by which a box finds the partition for /perm.
const PermLabel = "sealbay-perm"

// BootDrive makes a boot drive: a GPT with one ext4 partition for /perm. ext4,
// not FAT32, because master.key must belong to root alone, and because a file
// replaced by rename must be whole after a power cut. It is formatted here:
// the image carries no mkfs.
func BootDrive(ctx context.Context, path string, size int64) error {
	const start, tail = 1 << 20, 1 << 20 // the GPT's second copy stands in the last 17 KiB
	if err := BlankDrive(path, size); err != nil {
		return err
	}
	table := fmt.Sprintf("label: gpt\nstart=%d, size=%d, type=linux, name=%s\n", start/512, (size-start-tail)/512, PermLabel)
	if err := tool(ctx, "fdisk", table, "sfdisk", "--quiet", path); err != nil {
		return err
	}
	return tool(ctx, "e2fsprogs", "", "mkfs.ext4", "-q", "-L", PermLabel, "-E", "offset="+strconv.Itoa(start), path, strconv.FormatInt((size-start-tail)>>10, 10)+"k")
}

// tool runs a program of a Debian package.
func tool(ctx context.Context, pkg, stdin, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stdin = strings.NewReader(stdin)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s (Debian package %s): %w: %s", name, pkg, err, bytes.TrimSpace(out))
	}
	return nil
}
