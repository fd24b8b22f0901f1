package state

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"forebay/router/auth"
	"forebay/shipper"
)

// keysDenied begins the key of a denial; the digest in full ends it.
const keysDenied = "key/denied/"

type savedDenial struct {
	Project string    `json:"project,omitempty"`
	At      time.Time `json:"at"`
	By      string    `json:"by"`
	Why     string    `json:"why,omitempty"`
}

// LoadDenials returns the denied keys. A denial whose value cannot be read is one all the same: its digest is
// in its key.
func (s *Store) LoadDenials() (denials []auth.Denial, unreadable error, err error) {
	err = s.Scan(keysDenied, func(name string, value []byte) error {
		digest, err := auth.ParseDigest(strings.TrimPrefix(name, keysDenied))
		if err != nil {
			unreadable = fmt.Errorf("state: the denial %q cannot be read: %w", name, err)
			return nil
		}
		d := savedDenial{At: time.Unix(0, 0).UTC(), By: "unknown", Why: "the record of it cannot be read"}
		if err := json.Unmarshal(value, &d); err != nil {
			unreadable = fmt.Errorf("state: the denial %q is in force, by whom and why cannot be read: %w", name, err)
		}
		denials = append(denials, auth.Denial{Digest: digest, ID: digest.ID(), Project: d.Project, At: d.At, By: d.By, Why: d.Why})
		return nil
	})
	return denials, unreadable, err
}

// WriteDenial is the write that keeps a denial.
func WriteDenial(d auth.Denial) (shipper.Write, error) {
	value, err := json.Marshal(savedDenial{d.Project, d.At, d.By, d.Why})
	return shipper.Write{Key: keysDenied + d.Digest.String(), Value: value}, err
}

// WriteNoDenial is the write that removes it.
func WriteNoDenial(digest auth.Digest) shipper.Write {
	return shipper.Write{Key: keysDenied + digest.String()}
}
