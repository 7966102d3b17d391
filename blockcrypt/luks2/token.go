package luks2

import (
	"fmt"
	"slices"
	"strconv"
)

// Stores that a key may come from (3.5).
const (
	StoreLocal = "local"
	StoreKMS   = "kms"
)

// KeyInfo says which key-encryption key a keyslot opens with.
type KeyInfo struct {
	Epoch     uint64 // counts the master keys of a node, from 1
	Store     string // StoreLocal or StoreKMS
	KMIPKeyID string // the KMS's name of the key, "" with StoreLocal
}

// Check returns what is wrong with k, or nil.
func (k KeyInfo) Check() error {
	if k.Store != StoreLocal && k.Store != StoreKMS {
		return fmt.Errorf("%w key store: %q is neither %q nor %q", ErrInvalid, k.Store, StoreLocal, StoreKMS)
	}
	if k.Store == StoreLocal && k.KMIPKeyID != "" {
		return fmt.Errorf("%w: a key of store %q has no KMIP key ID", ErrInvalid, StoreLocal)
	}
	if len(k.KMIPKeyID) > 255 || printable(k.KMIPKeyID) != nil {
		return fmt.Errorf("%w KMIP key ID: %.40q is not at most 255 characters of printable ASCII", ErrInvalid, k.KMIPKeyID)
	}
	return nil
}

const (
	tokenType    = "sealbay"
	tokenVersion = 1
)

// token is the token of type "sealbay" (3.5). keys[i] describes the key of
// keyslot slots[i]; the newest stands first.
type token struct {
	slots      []string
	keys       []KeyInfo
	size       uint64 // of the drive when it was formatted, in bytes
	generation uint64
	mac        []byte
}

func (m *metadata) tokens(tokens *member, foreign bool) {
	for _, id := range tokens.names() {
		t := tokens.object(id)
		switch kind := t.text("type"); {
		case foreign: // belongs to a header as it was before the edit
		case kind != tokenType:
			t.fail("type", describe(kind), describe(tokenType))
		case m.token != nil:
			tokens.fail(id, "a second token", "one")
		default:
			m.token = readToken(t)
		}
	}
	if foreign {
		return
	}
	if m.token == nil {
		tokens.fail("*", "no token", "one of type sealbay")
		return
	}
	if !sameNames(m.token.slots, m.slotIDs()) {
		tokens.fail("*.keyslots", fmt.Sprintf("%.60q", m.token.slots), "every keyslot")
	}
}

func readToken(t *member) *token {
	k := &token{slots: t.ids("keyslots")}
	t.wantInt("version", tokenVersion)
	k.size = t.decimal("size")
	k.generation = t.decimal("generation")
	k.mac = t.base64("hmac", digestSize)
	list, _ := get[[]any](t, "keys", "a list")
	for i, v := range list {
		o, _ := v.(object)
		k.keys = append(k.keys, readKeyInfo(newMember(t.where("keys."+strconv.Itoa(i)), o, t.err)))
	}
	if len(k.keys) != len(k.slots) {
		t.fail("keys", fmt.Sprintf("%d entries", len(k.keys)), "one for each keyslot")
	}
	t.done()
	return k
}

func readKeyInfo(o *member) KeyInfo {
	k := KeyInfo{Epoch: o.decimal("epoch"), Store: o.text("store"), KMIPKeyID: o.text("kmip_key_id")}
	o.done()
	if err := k.Check(); err != nil {
		o.fail("store", err.Error(), "")
	}
	return k
}

// keyOf returns the entry of the keyslot with the given name.
func (t *token) keyOf(slot string) (KeyInfo, bool) {
	if t == nil {
		return KeyInfo{}, false
	}
	i := slices.Index(t.slots, slot)
	if i < 0 {
		return KeyInfo{}, false
	}
	return t.keys[i], true
}
