package privacy

import "fmt"

// builtInKeys are names of members whose values are personal, in lower case and
// without separators.
var builtInKeys = []string{
	"email", "emailaddress", "useremail", "password", "passwd", "passphrase", "userpassword",
	"creditcard", "creditcardnumber", "cardnumber", "ccnumber", "cvv", "cvc", "cardcvc", "securitycode",
	"ssn", "socialsecurity", "socialsecuritynumber", "nationalid", "taxid", "passport", "passportnumber",
	"driverslicense", "driverlicense",
	"phone", "phonenumber", "mobilenumber", "mobilephone", "telephone", "cellphone",
	"address", "streetaddress", "homeaddress", "billingaddress", "shippingaddress", "postaladdress",
	"zip", "zipcode", "postalcode", "postcode",
	"firstname", "lastname", "fullname", "surname", "maidenname", "birthdate", "birthday", "dateofbirth", "dob",
	"iban", "bankaccount", "bankaccountnumber", "accountnumber", "routingnumber",
	"apikey", "secretkey", "privatekey", "accesstoken", "refreshtoken", "authtoken", "clientsecret",
}

const maxKeyBytes = 32

// deniedKeys is a set of names.
type deniedKeys struct {
	names map[string]struct{}
	// lengths has, by the byte with which a name starts, a bit for each length
	// that such names have.
	lengths [256]uint64
}

func newDeniedKeys(more []string) (deniedKeys, error) {
	d := deniedKeys{names: make(map[string]struct{}, len(builtInKeys)+len(more))}
	for _, key := range append(builtInKeys[:len(builtInKeys):len(builtInKeys)], more...) {
		var buf [maxKeyBytes]byte
		n, ok := normalKey(buf[:], []byte(key))
		if !ok || n == 0 {
			return deniedKeys{}, fmt.Errorf("privacy: %q cannot be a denied key: want 1 to %d bytes without '_', '-', '.' and spaces", key, maxKeyBytes)
		}
		d.names[string(buf[:n])] = struct{}{}
		d.lengths[buf[0]] |= 1 << n
	}
	return d, nil
}

// has reports whether a member's name is denied, compared without case and
// separators.
func (d *deniedKeys) has(name []byte) bool {
	var buf [maxKeyBytes]byte
	n, ok := normalKey(buf[:], name)
	if !ok || n == 0 || d.lengths[buf[0]]&(1<<n) == 0 {
		return false
	}
	_, denied := d.names[string(buf[:n])]
	return denied
}

// hasDeniedParameter looks for a denied key among the names of parameters in
// the query or fragment of a URL: ?email=, &user[email]=, #access_token=.
func (f *finder) hasDeniedParameter(text []byte) bool {
	f.steps += 2 * len(text) // once here, and each name once when it is looked up
	inQuery, name, bracket := false, -1, false
	for i, c := range text {
		switch c {
		case '?', '#':
			inQuery, name, bracket = true, i+1, false
		case '&', ';':
			name, bracket = i+1, false
		case '[':
			name, bracket = i+1, true
		case '=', ']':
			if inQuery && name >= 0 && bracket == (c == ']') && (c == '=' || i+1 < len(text) && (text[i+1] == '=' || text[i+1] == '[')) &&
				f.denied.has(text[name:i]) {
				return true
			}
			name = -1
		case ' ', '\t', '\n', '\r', '"', '\'', '<', '>', '{', '}':
			inQuery, name = false, -1
		}
	}
	return false
}

// normalKey writes name to buf in lower case and without separators. ok is
// false if it does not fit.
func normalKey(buf, name []byte) (n int, ok bool) {
	for _, c := range name {
		switch {
		case c == '_' || c == '-' || c == '.' || c == ' ':
			continue
		case n == len(buf):
			return 0, false
		case c >= 'A' && c <= 'Z':
			c += 'a' - 'A'
		}
		buf[n] = c
		n++
	}
	return n, true
}
