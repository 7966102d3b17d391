// Package kernel fetches Debian's generic kernel package, checks it against
// its lock (kernel.lock is the box's), unpacks it and says which module needs which.
//
// Nothing of it is committed: the package comes from the machine's own apt, or
// from the file or mirror that the builder names, and is kept unpacked in a
// cache. A package that is not the pinned one to the byte is used only where
// the builder names it, or where the archive no longer has the pinned version;
// both are said aloud.
package kernel

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Kernel is an unpacked kernel package.
type Kernel struct {
	Control        // of the package, as Debian wrote it
	Release string // as uname -r prints it
	Image   string // path of the bzImage
	Modules *Tree
}

// Options say where a kernel may come from.
type Options struct {
	Lock   Lock                 // the wanted package
	Cache  string               // folder that keeps unpacked packages
	Deb    string               // KERNEL_DEB (Lock.DebVariable): a package file to use whatever the lock says
	Mirror string               // KERNEL_MIRROR: base URL of a Debian mirror
	Log    func(string, ...any) // told what a builder should know
}

// Open returns the kernel that opt asks for, from the cache or newly fetched.
func Open(ctx context.Context, opt Options) (*Kernel, error) {
	if opt.Deb != "" {
		return openDeb(ctx, opt)
	}
	if dir := cacheDir(opt.Cache, opt.Lock); exists(dir) {
		return load(dir)
	}
	want, err := resolve(ctx, opt)
	if err != nil {
		return nil, err
	}
	dir := cacheDir(opt.Cache, want)
	if exists(dir) {
		return load(dir)
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return nil, err
	}
	tmp, err := os.MkdirTemp(filepath.Dir(dir), "fetch-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(tmp)
	deb, err := fetch(ctx, opt, want, tmp)
	if err != nil {
		return nil, err
	}
	return unpackInto(ctx, deb, dir)
}

// openDeb unpacks the file the builder named.
func openDeb(ctx context.Context, opt Options) (*Kernel, error) {
	sum, err := fileSHA256(opt.Deb)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", opt.Lock.DebVariable(), err)
	}
	if sum != opt.Lock.SHA256 {
		opt.Log("%s=%s is not the pinned %s (its sha256 is %s): used because you named it", opt.Lock.DebVariable(), opt.Deb, opt.Lock.Package, sum)
	}
	dir := filepath.Join(opt.Cache, "kernel", "deb_"+sum[:16])
	if exists(dir) {
		return load(dir)
	}
	return unpackInto(ctx, opt.Deb, dir)
}

// cacheDir is where a verified package lies unpacked.
func cacheDir(cache string, l Lock) string {
	return filepath.Join(cache, "kernel", fmt.Sprintf("%s_%s_%s", l.Package, l.Version, l.SHA256[:16]))
}

// unpackInto makes dir appear complete or not at all. Two builders at once are
// fine: the second finds the first one's folder.
func unpackInto(ctx context.Context, deb, dir string) (*Kernel, error) {
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return nil, err
	}
	tmp, err := os.MkdirTemp(filepath.Dir(dir), "unpack-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(tmp)
	if err := unpack(ctx, deb, tmp); err != nil {
		return nil, fmt.Errorf("unpacking %s: %w", deb, err)
	}
	if err := os.Rename(tmp, dir); err != nil && !os.IsExist(err) {
		return nil, err
	}
	return load(dir)
}

// load reads an unpacked package.
func load(dir string) (*Kernel, error) {
	control, err := os.ReadFile(filepath.Join(dir, "control"))
	if err != nil {
		return nil, err
	}
	k := &Kernel{Control: parseControl(string(control)), Image: filepath.Join(dir, "vmlinuz")}
	release, err := os.ReadFile(filepath.Join(dir, "release"))
	if err != nil {
		return nil, err
	}
	k.Release = strings.TrimSpace(string(release))
	k.Modules, err = openTree(filepath.Join(dir, "modules"))
	return k, err
}
