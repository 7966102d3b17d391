package blockcrypt

import (
	"errors"

	"sealbay/blockcrypt/blockdev"
	"sealbay/blockcrypt/luks2"
)

// What a caller acts on. Every error of this package names the device and
// wraps one of these, or the *blockdev.OpError of a drive that failed.
var (
	// ErrNoHeader: there is no LUKS2 header; the drive may be blank.
	ErrNoHeader = luks2.ErrNoHeader
	// ErrWrongKey: the header is whole, and no keyslot opens with the key.
	ErrWrongKey = luks2.ErrWrongKey
	// ErrKeySize: a key-encryption key that is not KEKSize bytes long.
	ErrKeySize = luks2.ErrKeySize
	// ErrInvalid: a UUID, label or KeyInfo that no header can hold.
	ErrInvalid = luks2.ErrInvalid
	// ErrCorrupt: there was a header, and neither copy of it is whole.
	ErrCorrupt = luks2.ErrCorrupt
	// ErrNotSealbay: a LUKS2 header, but not of Sealbay's profile; the text
	// says what differs.
	ErrNotSealbay = luks2.ErrNotSealbay
	// ErrEdited: a header of the profile that was changed without Sealbay.
	ErrEdited = luks2.ErrEdited
	// ErrDegraded: the volume opens, but one of the two header copies is
	// damaged or stale. Only Verify returns it; Repair mends it.
	ErrDegraded = luks2.ErrDegraded
	// ErrTruncated: the drive is smaller than when it was formatted.
	ErrTruncated = luks2.ErrTruncated
	// ErrTooSmall: the drive cannot hold a volume.
	ErrTooSmall = errors.New("too small for a volume")
	// ErrForeignData: the drive holds something that formatting would
	// destroy; the text says what.
	ErrForeignData = errors.New("holds data")
	// ErrReadOnly: a change was asked of a device opened for reading.
	ErrReadOnly = blockdev.ErrReadOnly
	// ErrUnaligned: offset or length of I/O, or the size of a drive, is not a
	// multiple of SectorSize.
	ErrUnaligned = blockdev.ErrUnaligned
	// ErrLastKey: the key to kill is the one that was to be kept.
	ErrLastKey = luks2.ErrLastKey
	// ErrFull: all keyslots are in use.
	ErrFull = luks2.ErrFull
	// ErrStale: a header backup is older than what the drive has.
	ErrStale = luks2.ErrStale
	// ErrRolledBack: the header is older than OpenOptions.MinGeneration.
	ErrRolledBack = errors.New("header is older than one that was seen before")
	// ErrOtherDrive: a header backup is of another drive.
	ErrOtherDrive = luks2.ErrOtherDrive
)
