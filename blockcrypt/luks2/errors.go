package luks2

import (
	"errors"
	"fmt"
)

// What a caller acts on. They are wrapped with the facts.
var (
	// ErrNoHeader: neither place holds a LUKS2 header.
	ErrNoHeader = errors.New("no LUKS2 header")
	// ErrCorrupt: there was a header, and neither copy of it is whole.
	ErrCorrupt = errors.New("header is damaged")
	// ErrNotSealbay: a LUKS2 header, but not of Sealbay's profile (6).
	ErrNotSealbay = errors.New("not a Sealbay header")
	// ErrEdited: a header of the profile that was changed without the volume
	// key, by another tool or by an attacker (5).
	ErrEdited = errors.New("header was changed by another program")
	// ErrWrongKey: no keyslot opens with the key.
	ErrWrongKey = errors.New("wrong key")
	// ErrKeySize: a key-encryption key that is not KEKSize bytes long.
	ErrKeySize = errors.New("wrong key size")
	// ErrInvalid: a UUID, label or KeyInfo that no header can hold.
	ErrInvalid = errors.New("invalid")
	// ErrDegraded: the header is good, but one copy of it is not.
	ErrDegraded = errors.New("one header copy is damaged")
	// ErrTruncated: the drive is smaller than when it was formatted.
	ErrTruncated = errors.New("drive is smaller than its volume")
	// ErrLastKey: killing the keyslot would leave none.
	ErrLastKey = errors.New("the last key of a drive is never killed")
	// ErrFull: no keyslot is free.
	ErrFull = errors.New("no free keyslot")
)

// ProfileError says where a header differs from the profile. It is an
// ErrNotSealbay.
type ProfileError struct {
	Where string // "segments.0.encryption"
	Got   string
	Want  string
}

// Error names member, value and what the profile asks for.
func (e *ProfileError) Error() string {
	if e.Want == "" {
		return fmt.Sprintf("%v: %s: %s", ErrNotSealbay, e.Where, e.Got)
	}
	return fmt.Sprintf("%v: %s is %s, the profile has %s", ErrNotSealbay, e.Where, e.Got, e.Want)
}

// Is reports that every ProfileError is an ErrNotSealbay.
func (e *ProfileError) Is(target error) bool { return target == ErrNotSealbay }
