package blockcrypt

import (
	"fmt"
	"sync/atomic"

	"sealbay/blockcrypt/blockdev"
)

// copier is the transform that changes nothing.
type copier struct{}

func (copier) Encrypt(dst, src []byte, _ uint64) { copy(dst, src) }
func (copier) Decrypt(dst, src []byte, _ uint64) { copy(dst, src) }

// Copying is a device whose queues do all that those of a Volume do, with a
// copy where the volume has its cipher. What a Volume costs over it is the
// cipher alone; what it costs over the bare device is the price of taking
// unaligned memory. It is for measurement and protects nothing.
type Copying struct {
	dev    blockdev.Device
	g      geometry
	closed atomic.Bool
}

// CopyingEngine is the name of Copying in blockdev.Info.
const CopyingEngine = "copying"

// NewCopying puts a copying stage with sectors of that many bytes over d,
// starting at byte data of it. Closing it does not close d.
func NewCopying(d blockdev.Device, sector int, data int64) (*Copying, error) {
	info := d.Info()
	if sector < info.Sector || sector&(sector-1) != 0 || data < 0 || data%int64(sector) != 0 {
		return nil, fmt.Errorf("copying over %s: sectors of %d bytes from %d on do not fit its sectors of %d", info.Path, sector, data, info.Sector)
	}
	if data > info.Size-int64(sector) {
		return nil, fmt.Errorf("copying over %s: %w: starts at %d of %d bytes", info.Path, blockdev.ErrOutOfRange, data, info.Size)
	}
	return &Copying{dev: d, g: makeGeometry(info, CopyingEngine, sector, data, info.Discard)}, nil
}

// makeGeometry is the geometry of a volume of engine's kind over a device
// described by under.
func makeGeometry(under blockdev.Info, engine string, sector int, data int64, discard bool) geometry {
	info := under
	info.Engine, info.Sector, info.Align = engine, sector, 1
	info.Physical = max(under.Physical, sector)
	info.Size = (under.Size - data) / int64(sector) * int64(sector)
	info.Discard = under.Discard && discard
	return geometry{info: info, offset: data}
}

// Info describes the device above the stage.
func (c *Copying) Info() blockdev.Info { return c.g.info }

// OpenQueue opens a queue with the copying stage.
func (c *Copying) OpenQueue(o blockdev.QueueOptions) (blockdev.Queue, error) {
	if c.closed.Load() {
		return nil, fmt.Errorf("opening a queue of %s: %w", c.g.info.Path, blockdev.ErrClosed)
	}
	return newQueue(c.dev, copier{}, c.g, o)
}

// Close ends the stage; the device below belongs to who opened it.
func (c *Copying) Close() error {
	c.closed.Store(true)
	return nil
}
