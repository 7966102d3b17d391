package kmip

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"
	"unicode"

	"sealbay/keyring"
)

// DefaultPort is KMIP's registered TCP port.
const DefaultPort = 5696

// Config says how a key server is reached and which of its keys is the master
// key. Field names in errors are those of the REST interface.
type Config struct {
	Hostname string    // DNS name or IP address, which the server's certificate must hold
	Port     int       // TCP, 1 to 65535
	KeyID    string    // the server's unique identifier, which need not be the key's name
	Created  time.Time // when this key worked for the first time; zero if it never did
	Certs    Certs
}

// Certs are what both sides show each other.
type Certs struct {
	ServerCA   PEM // one or more certificates, one of which vouches for the server
	ClientCert PEM // the node's certificate, then any intermediate ones
	ClientKey  PEM // its private key, not encrypted
}

// PEM is the content of a PEM file. File is where it was read from, for
// messages, and may be empty.
type PEM struct {
	File string
	Data []byte
}

// maxPEM is far above any bundle of certificates.
const maxPEM = 1 << 20

// ReadPEM reads a file for the field of that name.
func ReadPEM(field, path string) (PEM, error) {
	fi, err := os.Stat(path)
	if err == nil && !fi.Mode().IsRegular() {
		err = errors.New("not a regular file")
	}
	if err == nil && fi.Size() > maxPEM {
		err = fmt.Errorf("%d bytes are too many for a PEM file", fi.Size())
	}
	var data []byte
	if err == nil {
		data, err = os.ReadFile(path)
	}
	if err != nil {
		var pathErr *os.PathError
		if errors.As(err, &pathErr) {
			err = pathErr.Err // the file is named already
		}
		return PEM{}, &FieldError{field, path, err.Error()}
	}
	return PEM{File: path, Data: data}, nil
}

// FieldError says what is wrong with one field of a Config. It is
// keyring.ErrCorrupt.
type FieldError struct {
	Field  string // "client_cert"
	File   string // where its content came from, or empty
	Reason string
}

// Error names the field, the file if there is one, and the reason.
func (e *FieldError) Error() string {
	if e.File != "" {
		return fmt.Sprintf("%s (%s): %s", e.Field, e.File, e.Reason)
	}
	return fmt.Sprintf("%s: %s", e.Field, e.Reason)
}

// Unwrap returns keyring.ErrCorrupt.
func (e *FieldError) Unwrap() error { return keyring.ErrCorrupt }

// Validate checks all that can be checked without the server. The error is a
// *FieldError.
func (c *Config) Validate() error {
	_, err := c.credentials()
	if kerr := validateKeyID(c.KeyID); kerr != nil {
		return kerr
	}
	return err
}

// Addr returns host and port as dialled.
func (c *Config) Addr() string { return net.JoinHostPort(c.Hostname, strconv.Itoa(c.Port)) }

// credentials are the parsed certificates of a Config.
type credentials struct {
	roots *x509.CertPool
	cas   []*x509.Certificate
	pair  tls.Certificate
}

// credentials validates everything but the key ID, which creating a key does
// without.
func (c *Config) credentials() (*credentials, error) {
	if err := validateHost(c.Hostname); err != nil {
		return nil, err
	}
	if c.Port < 1 || c.Port > 65535 {
		return nil, &FieldError{"port", "", fmt.Sprintf("%d is not a TCP port, want 1 to 65535", c.Port)}
	}
	cas, err := certificates("server_ca_cert", c.Certs.ServerCA)
	if err != nil {
		return nil, err
	}
	pair, err := keyPair(c.Certs)
	if err != nil {
		return nil, err
	}
	creds := &credentials{x509.NewCertPool(), cas, pair}
	for _, ca := range cas {
		creds.roots.AddCert(ca)
	}
	return creds, nil
}

func validateHost(h string) error {
	bad := func(why string) error { return &FieldError{"hostname", "", fmt.Sprintf("%q %s", h, why)} }
	if h == "" {
		return &FieldError{"hostname", "", "is empty"}
	}
	if _, err := netip.ParseAddr(h); err == nil {
		return nil
	}
	switch {
	case strings.Contains(h, "://"):
		return bad("is a URL, want only the host name")
	case strings.Contains(h, "/"):
		return bad("holds a path, want only the host name")
	case strings.Contains(h, ":"):
		return bad("holds a port, which is a field of its own, or is no IPv6 address")
	case len(h) > 253:
		return bad("is longer than 253 bytes")
	}
	for _, label := range strings.Split(strings.TrimSuffix(h, "."), ".") {
		if label == "" || len(label) > 63 || strings.Trim(label, hostBytes) != "" || label[0] == '-' || label[len(label)-1] == '-' {
			return bad("is not a DNS name or IP address")
		}
	}
	return nil
}

const hostBytes = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"

func validateKeyID(id string) error {
	switch {
	case id == "":
		return &FieldError{"key_id", "", "is empty"}
	case len(id) > 1024:
		return &FieldError{"key_id", "", "is longer than 1024 bytes"}
	case strings.ContainsFunc(id, func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) }):
		return &FieldError{"key_id", "", fmt.Sprintf("%q holds spaces or unprintable characters (a key's ID may differ from its name)", id)}
	}
	return nil
}
