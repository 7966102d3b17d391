// Package image builds what a Sealbay box boots: a Debian kernel, and an
// initramfs with our programs, a few of u-root's and the kernel's modules.
// It runs on the build machine and knows the box's programs only by name.
//
// The same source, Go toolchain and kernel give the same bytes.
package image

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"sealbay/image/initramfs"
	"sealbay/image/kernel"
)

// Names of what Build writes.
const (
	KernelFile    = "vmlinuz"
	InitramfsFile = "initramfs.cpio"
	ManifestFile  = "manifest.txt"
)

// Build writes kernel, initramfs and manifest into out.
func Build(ctx context.Context, spec Spec, k *kernel.Kernel, out string) error {
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	bin, err := os.MkdirTemp(out, "bin-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(bin)
	programs, err := compile(ctx, spec.Programs, bin)
	if err != nil {
		return err
	}
	modules, err := moduleFiles(k, spec.Modules)
	if err != nil {
		return err
	}
	files := slices.Concat(programs, modules, spec.Files)
	archive := filepath.Join(out, InitramfsFile)
	if err := writeFile(archive, func(w io.Writer) error { return initramfs.Write(w, files) }); err != nil {
		return err
	}
	if err := copyFile(k.Image, filepath.Join(out, KernelFile)); err != nil {
		return err
	}
	return writeManifest(out, k, spec)
}

// compile builds the programs into dir, all in one call of go build, which
// shares what they have in common.
func compile(ctx context.Context, programs map[string]string, dir string) ([]initramfs.File, error) {
	packages := slices.Sorted(maps.Keys(programs))
	args := []string{"build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", dir + "/"}
	cmd := exec.CommandContext(ctx, "go", append(args, packages...)...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64", "GOFLAGS=")
	if text, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("go build: %w\n%s", err, bytes.TrimSpace(text))
	}
	var files []initramfs.File
	for _, pkg := range packages {
		files = append(files, initramfs.File{Name: programs[pkg], Mode: 0o755, From: filepath.Join(dir, path.Base(pkg))})
	}
	return files, nil
}

// moduleFiles are the modules, still compressed (the kernel unpacks them,
// finit_module(2)), with the tables by which they are found.
func moduleFiles(k *kernel.Kernel, names []string) ([]initramfs.File, error) {
	selected, err := k.Modules.Select(names)
	if err != nil {
		return nil, err
	}
	root := "/lib/modules/" + k.Release + "/"
	files := []initramfs.File{
		{Name: root + "modules.dep", Mode: 0o644, Data: []byte(selected.Dep())},
		{Name: root + "modules.alias", Mode: 0o644, Data: []byte(selected.Alias())},
		{Name: root + "modules.softdep", Mode: 0o644, Data: []byte(selected.SoftDep())},
	}
	for _, m := range selected {
		files = append(files, initramfs.File{Name: root + m.Path, Mode: 0o644, From: m.File})
	}
	return files, nil
}

// writeManifest says what the image was made of. The kernel is GPL: its source
// is named to the version.
func writeManifest(out string, k *kernel.Kernel, spec Spec) error {
	var b strings.Builder
	fmt.Fprintf(&b, "kernel %s %s\nkernel-source %s\nkernel-release %s\ngo %s\n", k.Package, k.Version, k.Source, k.Release, runtime.Version())
	for _, pkg := range slices.Sorted(maps.Keys(spec.Programs)) {
		fmt.Fprintf(&b, "program %s %s\n", spec.Programs[pkg], pkg)
	}
	for _, name := range []string{KernelFile, InitramfsFile} {
		data, err := os.ReadFile(filepath.Join(out, name))
		if err != nil {
			return err
		}
		sum := sha256.Sum256(data)
		fmt.Fprintf(&b, "sha256 %s %s\n", hex.EncodeToString(sum[:]), name)
	}
	return os.WriteFile(filepath.Join(out, ManifestFile), []byte(b.String()), 0o644)
}

// writeFile replaces path with what write produces, never leaving half of it.
func writeFile(path string, write func(io.Writer) error) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+"-")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	if err := errors.Join(write(f), f.Chmod(0o644), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

func copyFile(from, to string) error {
	return writeFile(to, func(w io.Writer) error {
		f, err := os.Open(from)
		if err != nil {
			return err
		}
		defer f.Close()
		_, err = io.Copy(w, f)
		return err
	})
}
