// Package luks2 reads and writes the headers of Sealbay's narrow LUKS2 profile
// (blockcrypt/FORMAT.md; section numbers in comments are its): both header
// copies, keyslots, the sealbay token and the seal over it all.
//
// It is strict where stock tools are lenient: a header that is not exactly of
// the profile is refused by name before any key is tried, and one that was
// changed by anybody without the volume key is refused after. It does not
// know where keys come from, and it encrypts nothing but keyslots.
package luks2

import "io"

// The layout of a drive, in bytes (1).
const (
	// HeaderSize is the size of one header copy: the binary part and the JSON.
	HeaderSize = 16 << 10
	// DataOffset is where the data segment starts.
	DataOffset = 16 << 20
	// MinSize is the smallest drive that is formatted.
	MinSize = DataOffset + 1<<20
	// KeySize is the size of the volume key.
	KeySize = 64
	// SectorSize is the unit of encryption of the data segment.
	SectorSize = 4096
	// KEKSize is the size of a key-encryption key.
	KEKSize = 32
	// SecretSize is the size of a slot secret, the drive's rescue key.
	SecretSize = 32
	// MaxKeyslots is how many keyslots a header may have.
	MaxKeyslots = 8

	binarySize    = 4096
	jsonSize      = HeaderSize - binarySize
	keyslotsStart = 2 * HeaderSize
	keyslotsSize  = 8<<20 - keyslotsStart
	areaSize      = 258048 // material rounded up to 4096
	materialSize  = KeySize * stripes
	stripes       = 4000
	iterations    = 1000
	saltSize      = 32
	digestSize    = 32
	cipherName    = "aes-xts-plain64"
	hashName      = "sha256"
)

// Device is what a header is read from and written to; *blockdev.Sync is one.
// Offsets and lengths that this package uses are multiples of 4096.
type Device interface {
	io.ReaderAt
	io.WriterAt
	// Flush puts on stable storage what was written.
	Flush() error
	// Size returns the size in bytes.
	Size() int64
}
