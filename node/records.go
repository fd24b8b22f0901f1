package node

import (
	"fmt"
	"strings"

	"forebay/node/admin"
	"forebay/shipper"
)

// records: can all records of the state be read? One that cannot leaves the others,
// so this is the place where it is told.
func (h *health) records() admin.Check { return recordsCheck(h.node.cursors.Unreadable()) }

func recordsCheck(all []shipper.Unreadable) admin.Check {
	const name, shown = "records", 3
	if len(all) == 0 {
		return good(name)
	}
	var texts []string
	for _, u := range all[:min(len(all), shown)] {
		texts = append(texts, fmt.Sprintf("%s: %s", u.Key, u.Error))
	}
	return bad(name, true, "the disk or another program has damaged them: look at the disk (dmesg); a dead letter can be discarded, or imported from an export; the others stay until the state folder is restored",
		"%d records of the state cannot be read, the others serve: %s", len(all), strings.Join(texts, "; "))
}
