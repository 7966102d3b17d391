// Package bundle seals a recovery bundle: what brings a node back when its
// boot drive is gone, in one file for a safe. It knows the parts of a bundle by
// name only; whoever makes them knows what they mean.
//
// The file, integers big-endian:
//
//	offset  bytes
//	     0      8  magic "SEALBNDL"
//	     8      2  version, 1
//	    10      2  secret: 1 passphrase (argon2id), 2 key file
//	    12      4  argon2id time      } 0 with a key file
//	    16      4  argon2id memory, KiB
//	    20      4  argon2id threads
//	    24     32  salt
//	    56      8  length of the file
//	    64     32  SHA-256 of bytes 0 to 63: finds accidents
//	    96     32  HMAC-SHA256 of bytes 0 to 95: proves the secret and the header
//	   128         a DARE 2.0 stream (AES-256-GCM)
//
// The keys of the HMAC and of the stream are HKDF-SHA256 of the secret, or of
// what argon2id (RFC 9106) makes of it, with the salt, and bound to bytes 0 to
// 63. The stream holds a length of 8 bytes, that many bytes of JSON (Manifest),
// and the parts one after the other.
package bundle

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/minio/sio"

	"sealbay/keyring"
)

// What can be wrong with a bundle. They are different things to do about.
var (
	ErrNotBundle   = errors.New("not a recovery bundle")
	ErrVersion     = errors.New("the recovery bundle is of a newer version")
	ErrTruncated   = errors.New("the recovery bundle is truncated")
	ErrDamaged     = errors.New("the recovery bundle is damaged: bits changed since it was made")
	ErrWrongSecret = errors.New("this passphrase or key file does not open the recovery bundle")
	ErrOld         = errors.New("the recovery bundle is old")
)

// Manifest says what a bundle holds.
type Manifest struct {
	Version int         `json:"version"`
	Created time.Time   `json:"created"`
	Node    string      `json:"node,omitempty"` // whatever tells nodes apart
	Epoch   uint64      `json:"epoch"`          // of the master key when the bundle was made
	Key     keyring.Ref `json:"key"`            // that key
	Parts   []Info      `json:"parts"`          // in the order of the file
}

// Info describes one part.
type Info struct {
	Name string `json:"name"`
	Size int64  `json:"size_bytes"`
}

// Part is one part to be sealed. Body gives exactly Size bytes.
type Part struct {
	Name string
	Size int64
	Body io.Reader
}

const (
	manifestVersion = 1
	maxManifest     = 4 << 20
)

// Write seals the parts into w. Version, Created and Parts of m are filled in.
// Nothing that was written before an error may be kept.
func Write(w io.Writer, s *Secret, m Manifest, parts []Part) error {
	m.Version, m.Created, m.Parts = manifestVersion, time.Now().UTC(), nil
	size := int64(8)
	for _, p := range parts {
		m.Parts = append(m.Parts, Info{p.Name, p.Size})
		size += p.Size
	}
	manifest, err := json.Marshal(m)
	if err == nil && len(manifest) > maxManifest {
		err = errors.New("too many parts")
	}
	if err != nil {
		return fmt.Errorf("describing the recovery bundle: %w", err)
	}
	h, err := newHeader(s, size+int64(len(manifest)))
	if err != nil {
		return err
	}
	keys, err := s.keys(h)
	if err != nil {
		return err
	}
	defer keys.close()
	if _, err := w.Write(h.seal(keys)); err != nil {
		return err
	}
	enc, err := sio.EncryptWriter(w, keys.stream())
	if err != nil {
		return err
	}
	if err := writeBody(enc, manifest, parts); err != nil {
		return err // not closed: the stream stays without its end
	}
	return enc.Close()
}

func writeBody(w io.Writer, manifest []byte, parts []Part) error {
	if _, err := w.Write(append(binary.BigEndian.AppendUint64(nil, uint64(len(manifest))), manifest...)); err != nil {
		return err
	}
	for _, p := range parts {
		if n, err := io.CopyN(w, p.Body, p.Size); err != nil {
			return fmt.Errorf("part %q: %d of %d bytes: %w", p.Name, n, p.Size, err)
		}
		if n, err := p.Body.Read(make([]byte, 1)); n != 0 || err != io.EOF {
			return fmt.Errorf("part %q: more than %d bytes, or its end is not clear: %v", p.Name, p.Size, err)
		}
	}
	return nil
}

// Read opens a bundle and calls visit for every part in order, with a body of
// the part's size; what visit does not read is skipped. Each byte that visit
// gets is authentic, but only when Read returns nil is it known that nothing is
// missing: whoever acts on a bundle reads it once before, with a nil visit.
func Read(r io.Reader, s *Secret, visit func(Manifest, Info, io.Reader) error) (Manifest, error) {
	counted := &counter{r: r}
	h, err := readHeader(counted)
	if err != nil {
		return Manifest{}, err
	}
	keys, err := s.keys(h)
	if err != nil {
		return Manifest{}, err
	}
	defer keys.close()
	if !h.verify(keys) {
		return Manifest{}, ErrWrongSecret
	}
	dec, err := sio.DecryptReader(counted, keys.stream())
	if err != nil {
		return Manifest{}, err
	}
	m, err := readBody(dec, visit)
	return m, diagnose(err, counted, h.length)
}

func readBody(r io.Reader, visit func(Manifest, Info, io.Reader) error) (Manifest, error) {
	m, err := readManifest(r)
	if err != nil {
		return m, err
	}
	for _, p := range m.Parts {
		body := io.LimitReader(r, p.Size)
		if visit != nil {
			if err := visit(m, p, body); err != nil {
				return m, &visitError{err}
			}
		}
		if _, err := io.Copy(io.Discard, body); err != nil {
			return m, err
		}
	}
	if n, err := io.Copy(io.Discard, r); err != nil || n != 0 {
		return m, errors.Join(err, fmt.Errorf("%w: %d bytes follow the last part", ErrDamaged, n))
	}
	return m, nil
}

func readManifest(r io.Reader) (m Manifest, err error) {
	var n uint64
	if err := binary.Read(r, binary.BigEndian, &n); err != nil {
		return m, err
	}
	if n > maxManifest {
		return m, fmt.Errorf("%w: a manifest of %d bytes", ErrDamaged, n)
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(r, b); err != nil {
		return m, err
	}
	if err := json.Unmarshal(b, &m); err != nil {
		return m, fmt.Errorf("%w: its manifest: %w", ErrDamaged, err)
	}
	if m.Version != manifestVersion {
		return m, fmt.Errorf("%w: %d", ErrVersion, m.Version)
	}
	for _, p := range m.Parts {
		if p.Size < 0 {
			return m, fmt.Errorf("%w: part %q of %d bytes", ErrDamaged, p.Name, p.Size)
		}
	}
	return m, nil
}

// visitError keeps an error of visit from being taken for one of the file.
type visitError struct{ err error }

func (e *visitError) Error() string { return e.err.Error() }
func (e *visitError) Unwrap() error { return e.err }

// counter counts what was read and keeps the file's own error.
type counter struct {
	r   io.Reader
	n   int64
	err error
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	if err != nil && err != io.EOF {
		c.err = err
	}
	return n, err
}

// diagnose says in plain words why reading failed: DARE knows only that the
// data is not authentic.
func diagnose(err error, c *counter, length int64) error {
	var visit *visitError
	switch {
	case errors.As(err, &visit):
		return visit.err
	case c.err != nil:
		return fmt.Errorf("reading the recovery bundle: %w", c.err)
	case err == nil && c.n == length:
		return nil
	case c.n < length && atEnd(c):
		return fmt.Errorf("%w: it has %d of %d bytes", ErrTruncated, c.n, length)
	case errors.Is(err, ErrDamaged), errors.Is(err, ErrVersion):
		return err
	case err == nil:
		return fmt.Errorf("%w: it has %d bytes instead of %d", ErrDamaged, c.n, length)
	}
	return fmt.Errorf("%w (at byte %d of %d)", ErrDamaged, c.n, length)
}

func atEnd(c *counter) bool {
	n, err := c.Read(make([]byte, 1))
	return n == 0 && err == io.EOF
}

// Stale returns an ErrOld if the node's master key is no longer the one that
// the bundle was made with: epoch and key are the node's.
func (m Manifest) Stale(epoch uint64, key keyring.Ref) error {
	if m.Epoch == epoch && m.Key == key {
		return nil
	}
	return fmt.Errorf("%w: it was made on %s with master key number %d (%v), and the node has number %d (%v) since: make a new one with keyring_backup",
		ErrOld, m.Created.Format(time.RFC3339), m.Epoch, m.Key, epoch, key)
}
