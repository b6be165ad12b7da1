import { addressClass } from '../../domain/webhooks/address-class';
import { parseAllowedHost, refusalOf, type TargetRules } from '../../domain/webhooks/allowed-target';

const rules = (hosts: string, allowPrivate = false): TargetRules => ({
  hosts: hosts.split(',').flatMap((host) => parseAllowedHost(host) ?? []),
  allowPrivate,
});

test.each([
  ['https://n8n.example.com/x', 'n8n.example.com', null],
  ['https://N8N.Example.COM./x', 'n8n.example.com', null],
  ['http://n8n.example.com:443/x', 'n8n.example.com:443', null],
  ['https://n8n.example.com:8443/x', 'n8n.example.com', 'port_not_allowed'],
  ['https://n8n.example.com/x', 'n8n.example.com:8443', 'port_not_allowed'],
  ['https://a.b.example.com/', '*.example.com', null],
  ['https://example.com/', '*.example.com', 'host_not_allowed'],
  ['https://evilexample.com/', '*.example.com', 'host_not_allowed'],
  ['https://n8n.example.com.evil.test/', 'n8n.example.com', 'host_not_allowed'],
  ['https://evil.test/?n8n.example.com', 'n8n.example.com', 'host_not_allowed'],
  ['https://n8n.example.com/', '', 'no_hosts_allowed'],
  ['http://127.0.0.1/', '127.0.0.1', 'address_not_allowed'],
  ['http://2130706433/', '127.0.0.1', 'address_not_allowed'],
  ['http://0177.0.0.1/', '127.0.0.1', 'address_not_allowed'],
  ['http://0x7f.1/', '127.0.0.1', 'address_not_allowed'],
  ['http://127.1/', '127.0.0.1', 'address_not_allowed'],
  ['http://[::ffff:127.0.0.1]/', '[::ffff:127.0.0.1]', 'address_not_allowed'],
  ['http://[::1]:5678/', '[::1]:5678', 'address_not_allowed'],
  ['http://93.184.216.34/', '93.184.216.34', null],
])('%s with %s: %s', (url, hosts, refusal) => {
  expect(refusalOf(new URL(url), rules(hosts))).toBe(refusal);
});

test('private addresses of allowed hosts are opened by their own rule, reserved ones by none', () => {
  expect(refusalOf(new URL('http://127.0.0.1:5678/'), rules('127.0.0.1:5678', true))).toBeNull();
  expect(refusalOf(new URL('http://[::1]:5678/'), rules('[::1]:5678', true))).toBeNull();
  expect(refusalOf(new URL('http://169.254.169.254/'), rules('169.254.169.254', true))).toBe('address_not_allowed');
});

test.each([
  ['public', ['8.8.8.8', '93.184.216.34', '2606:2800:220:1::1', '::ffff:8.8.8.8']],
  [
    'private',
    ['127.0.0.1', '127.255.0.9', '10.1.2.3', '172.16.0.1', '172.31.255.255', '192.168.1.1', '100.64.0.1', '::1'].concat(
      ['fd12::1', 'fc00::1', '::ffff:127.0.0.1', '::ffff:7f00:1', '0:0:0:0:0:ffff:10.0.0.1'],
    ),
  ],
  [
    'never',
    ['0.0.0.0', '169.254.169.254', '169.254.0.1', '224.0.0.1', '240.0.0.1', '255.255.255.255', '192.0.2.1']
      .concat(['100.100.100.200', '168.63.129.16', 'fd00:ec2::254', 'fe80::1', 'fe80::1%eth0', 'ff02::1', '::'])
      .concat(['2002:7f00:1::', '2001::1', '64:ff9b::7f00:1', '::7f00:1', '::ffff:169.254.169.254', 'x', '', '1.2.3']),
  ],
])('addresses that are %s', (kind, addresses) => {
  expect(Object.fromEntries(addresses.map((each) => [each, addressClass(each)]))).toEqual(
    Object.fromEntries(addresses.map((each) => [each, kind])),
  );
});

test.each(['', '*', '*.com:', 'a b', 'http://x', 'x:0', 'x:70000', '*.127.0.0.1', 'user@x', 'x/y', '*.local'])(
  'the entry %j is refused',
  (entry) => {
    expect(parseAllowedHost(entry)).toBeNull();
  },
);
