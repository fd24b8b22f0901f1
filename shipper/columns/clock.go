package columns

import "time"

// clock reads timestamps. It knows the minute of the last one: those that come one after the other mostly
// share it, and then only the rest has to be read.
type clock struct {
	minute [len("2026-11-23T10:00:")]byte
	begin  int64 // of that minute, in Unix milliseconds
}

// read is the time that the text names in RFC 3339, as time.Parse reads it, in Unix milliseconds.
func (c *clock) read(text string) (int64, error) {
	since, plain := sinceMinute(text)
	if plain && text[:len(c.minute)] == string(c.minute[:]) {
		return c.begin + since, nil
	}
	parsed, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return 0, err
	}
	at := parsed.UnixMilli()
	if plain {
		copy(c.minute[:], text)
		c.begin = at - since
	}
	return at, nil
}

// sinceMinute reads the end of a timestamp as most senders write it: after the minute, seconds, with
// milliseconds or without, and Z. Of what stands before, it only says that it is as long as it should be.
func sinceMinute(text string) (milliseconds int64, plain bool) {
	const whole, fraction = len("2026-11-23T10:00:00Z"), len("2026-11-23T10:00:00.123Z")
	if len(text) != whole && len(text) != fraction || text[16] != ':' || text[len(text)-1] != 'Z' {
		return 0, false
	}
	digits := [...]byte{text[17] - '0', text[18] - '0', 0, 0, 0}
	if len(text) == fraction {
		if text[19] != '.' {
			return 0, false
		}
		digits[2], digits[3], digits[4] = text[20]-'0', text[21]-'0', text[22]-'0'
	}
	for _, digit := range digits {
		if digit > 9 {
			return 0, false
		}
		milliseconds = 10*milliseconds + int64(digit)
	}
	return milliseconds, milliseconds < 60_000
}
