package kernel

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// Control is what a Debian package says of itself (deb-control(5)).
type Control struct {
	Package string
	Version string
	Source  string
}

func parseControl(text string) Control {
	var c Control
	for line := range strings.Lines(text) {
		key, value, _ := strings.Cut(line, ":")
		switch value = strings.TrimSpace(value); key {
		case "Package":
			c.Package = value
		case "Version":
			c.Version = value
		case "Source":
			c.Source = value
		}
	}
	return c
}

// unpack writes into dir what the image needs of the package: control,
// release, vmlinuz, modules/kernel/... and modules/modules.builtin.
func unpack(ctx context.Context, deb, dir string) error {
	f, err := os.Open(deb)
	if err != nil {
		return err
	}
	defer f.Close()
	members, err := readAr(f)
	if err != nil {
		return err
	}
	x := &unpacker{dir: dir}
	for _, name := range []string{"control.tar.xz", "data.tar.xz"} {
		m, ok := members[name]
		if !ok {
			return fmt.Errorf("no member %s: not a Debian package this build can read", name)
		}
		if err := untarXZ(ctx, m, x.entry); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	if !x.control || x.release == "" {
		return errors.New("no control file or no boot/vmlinuz in it: not a kernel package")
	}
	return os.WriteFile(filepath.Join(dir, "release"), []byte(x.release+"\n"), 0o644)
}

// readAr lists the members of an ar(5) archive as deb(5) restricts it.
func readAr(f *os.File) (map[string]*io.SectionReader, error) {
	magic := make([]byte, 8)
	if _, err := io.ReadFull(f, magic); err != nil || string(magic) != "!<arch>\n" {
		return nil, errors.New("not a Debian package (no ar magic)")
	}
	members := map[string]*io.SectionReader{}
	header := make([]byte, 60)
	for at := int64(8); ; {
		if _, err := f.ReadAt(header, at); errors.Is(err, io.EOF) {
			return members, nil
		} else if err != nil {
			return nil, err
		}
		size, err := strconv.ParseInt(strings.TrimSpace(string(header[48:58])), 10, 64)
		if err != nil || size < 0 || string(header[58:]) != "`\n" {
			return nil, fmt.Errorf("bad ar header at byte %d", at)
		}
		name := strings.TrimRight(strings.TrimSpace(string(header[:16])), "/")
		members[name] = io.NewSectionReader(f, at+60, size)
		at += 60 + size + size%2
	}
}

// untarXZ calls entry for each file of the compressed archive r. The program
// xz is many times faster here than what there is in Go.
func untarXZ(ctx context.Context, r io.Reader, entry func(*tar.Header, io.Reader) error) error {
	cmd := exec.CommandContext(ctx, "xz", "-dc")
	var stderr bytes.Buffer
	cmd.Stdin, cmd.Stderr = r, &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("%w (Debian package xz-utils)", err)
	}
	walkErr := walkTar(bufio.NewReaderSize(out, 1<<20), entry)
	if walkErr != nil {
		_ = cmd.Process.Kill()
	}
	if err := cmd.Wait(); walkErr == nil && err != nil {
		return fmt.Errorf("xz: %w: %s", err, bytes.TrimSpace(stderr.Bytes()))
	}
	return walkErr
}

func walkTar(r io.Reader, entry func(*tar.Header, io.Reader) error) error {
	for t := tar.NewReader(r); ; {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			_, err = io.Copy(io.Discard, r) // xz must reach its end, which holds its checksum
			return err
		}
		if err != nil {
			return err
		}
		if h.Typeflag != tar.TypeReg {
			continue
		}
		if err := entry(h, t); err != nil {
			return err
		}
	}
}

// unpacker picks files out of the package's archives.
type unpacker struct {
	dir     string
	control bool
	release string
}

func (x *unpacker) entry(h *tar.Header, r io.Reader) error {
	name := strings.TrimPrefix(h.Name, "./")
	if name == "control" {
		x.control = true
		return x.write("control", r)
	}
	if release, ok := strings.CutPrefix(name, "boot/vmlinuz-"); ok {
		x.release = release
		return x.write("vmlinuz", r)
	}
	_, inModules, ok := strings.Cut(name, "lib/modules/")
	if !ok {
		return nil
	}
	_, path, _ := strings.Cut(inModules, "/")
	if path == "modules.builtin" || strings.HasSuffix(strings.TrimSuffix(path, ".xz"), ".ko") {
		return x.write(filepath.Join("modules", path), r)
	}
	return nil
}

func (x *unpacker) write(name string, r io.Reader) error {
	if !filepath.IsLocal(name) {
		return fmt.Errorf("refusing path %q", name)
	}
	path := filepath.Join(x.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, r)
	return errors.Join(err, f.Close())
}
