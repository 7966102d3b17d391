// Package target opens what the bench runs on, and sees to it that nothing
// else is touched.
//
// A target is a file or a block device. What somebody may still need is
// refused: a device in use always; one that is partitioned or holds anything
// at its ends, unless the caller names it as given up. The bench writes to the
// first Options.Size bytes and to nothing else, and leaves them zeroed; a file
// that it made is gone afterwards, killed or not.
package target

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"sealbay/blockcrypt"
	"sealbay/blockcrypt/blockdev"
	"sealbay/blockcrypt/blockdev/engine"
)

// Sizes in bytes.
const (
	DefaultSize = 1 << 30
	MinSize     = DataOffset + 16<<20
	// DataOffset is where both plain and encrypted data start: the encrypted
	// volume's data segment, behind its headers.
	DataOffset = blockcrypt.DataOffset
	// Grain is what the region for data is a multiple of: the largest block.
	Grain = 4 << 20
)

// Options says what to open.
type Options struct {
	// Path of a block device or file; "" makes a file in the current folder.
	Path string
	// Size is how many bytes of it are used, the volume's header included.
	// 0 takes Most or the whole target, whichever is less.
	Size int64
	// Most is the Size where none is asked for; 0 means DefaultSize.
	Most int64
	// Erases is the path or serial that the caller gives up, or "".
	Erases string
	// Engine is a name of package engine.
	Engine string
	// State is a folder with a local master key, for a target that already is
	// a Sealbay volume; "" formats one under a random key.
	State string
}

// Target is an open target.
type Target struct {
	Identity Identity
	// Raw is the target itself, Volume the encrypted volume over it. Raw
	// reaches from the first byte to the last that is used.
	Raw    blockdev.Device
	Volume *blockcrypt.Volume
	// Span is the length in bytes of the region that both modes share: on Raw
	// it starts at DataOffset, on Volume at 0.
	Span int64

	file *file // nil for a block device
	kept bool  // the header is the owner's: it stays
}

// Open opens a target. Nothing is written before all that could refuse it was
// asked. A target that was opened must be closed.
func Open(o Options) (_ *Target, err error) {
	if o.Most == 0 {
		o.Most = DefaultSize
	}
	if o.Engine == "" {
		o.Engine = engine.Auto
	}
	t := &Target{}
	defer func() {
		if err != nil {
			err = errors.Join(err, t.abandon())
		}
	}()
	path := o.Path
	if isBlock(path) {
		t.Identity, err = identify(path)
	} else if t.file, err = openFile(path, o); err == nil {
		path, t.Identity = t.file.path, t.file.identity()
	}
	if err != nil {
		return nil, err
	}
	if err := t.open(path, o); err != nil {
		return nil, err
	}
	return t, nil
}

func (t *Target) open(path string, o Options) error {
	dev, err := engine.Open(path, o.Engine, engine.Options{})
	if err != nil {
		return renamed(err, path, t.Identity.Path)
	}
	t.Raw = dev
	if err := t.guard(o); err != nil {
		return err
	}
	size, err := used(dev.Info(), t.Identity.Path, o)
	if err != nil {
		return err
	}
	t.Raw = &limited{Device: dev, info: limit(dev.Info(), t.Identity.Path, size)}
	t.Span = (size - DataOffset) / Grain * Grain
	if o.State != "" {
		// On the whole drive: the header says how large it was, and a drive
		// that ends at Size would be refused as truncated. Span is the limit.
		whole := &limited{Device: dev, info: limit(dev.Info(), t.Identity.Path, dev.Info().Size)}
		t.Volume, err = openVolume(whole, o.State)
		t.kept = true
	} else {
		t.Volume, err = formatVolume(t.Raw)
	}
	return err
}

// Path is where the kernel finds the target: not its name if that is gone.
func (t *Target) Path() string {
	if t.file != nil {
		return t.file.path
	}
	return t.Identity.Path
}

// used is how much of the device the bench may write to.
func used(info blockdev.Info, path string, o Options) (int64, error) {
	want := o.Size
	if want == 0 {
		want = min(o.Most, info.Size)
	}
	want -= want % blockcrypt.SectorSize
	switch {
	case want > info.Size:
		return 0, fmt.Errorf("target %s: has %d bytes, not %d", path, info.Size, want)
	case want < MinSize:
		return 0, fmt.Errorf("target %s: %d bytes are too few, the bench needs %d", path, want, MinSize)
	}
	return want, nil
}

// limited is a device that ends where the bench must.
type limited struct {
	blockdev.Device
	info blockdev.Info
}

func limit(info blockdev.Info, path string, size int64) blockdev.Info {
	info.Path, info.Size = path, size
	return info
}

func (l *limited) Info() blockdev.Info { return l.info }

// Close closes the volume and the device, zeroes what was used unless the
// volume was there before, and gives a file its former length back, or removes
// it.
func (t *Target) Close() error {
	var errs []error
	if t.Volume != nil {
		errs = append(errs, t.Volume.Close())
		if !t.kept && (t.file == nil || !t.file.made) {
			errs = append(errs, blank(t.Raw))
		}
	}
	return errors.Join(append(errs, t.abandon())...)
}

// abandon releases everything without writing.
func (t *Target) abandon() error {
	var errs []error
	if t.Raw != nil {
		errs = append(errs, t.Raw.Close())
	}
	if t.file != nil {
		errs = append(errs, t.file.close())
	}
	return errors.Join(errs...)
}

// renamed puts the name that the user knows into an error that names a file
// by its descriptor.
func renamed(err error, path, name string) error {
	if path == name {
		return err
	}
	return &namedError{err, strings.ReplaceAll(err.Error(), path, name)}
}

type namedError struct {
	error
	text string
}

func (e *namedError) Error() string { return e.text }
func (e *namedError) Unwrap() error { return e.error }

// isBlock reports whether path names a block device.
func isBlock(path string) bool {
	st, err := os.Stat(path)
	return err == nil && st.Mode()&os.ModeDevice != 0 && st.Mode()&os.ModeCharDevice == 0
}
