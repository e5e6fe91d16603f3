// node-oidc-provider with client credentials, introspection, signed too, revocation, resource indicators, DPoP and, with
// TLS, tokens that are bound to client certificates, for one test.
//
// Its configuration is JSON in the variable CONFIGURATION; it prints its issuer in one line of JSON.
// `PUT /keys` with a list of names rotates its keys: those are published, and the first one signs.
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import { json } from 'node:stream/consumers';

import { Provider, errors } from 'oidc-provider';

// clients: [{ id, secret, and bound, if its tokens are bound to its certificate }]; signers: [{ id, method, secret or key }]; resources: { URI: 'opaque' or 'jwt' }; tls: { certificate, key }, two paths, or none.
function serve({ clients, signers, resources, tls }) {
  const server = tls
    ? https.createServer({
        cert: readFileSync(tls.certificate),
        key: readFileSync(tls.key),
        // A certificate of anybody's: tokens are bound to it, and it authenticates nobody.
        requestCert: true,
        rejectUnauthorized: false,
      })
    : http.createServer();
  server.listen(0, '127.0.0.1', () => {
    const issuer = `${tls ? 'https' : 'http'}://127.0.0.1:${server.address().port}`;
    // Clients and tokens are the same for every provider of this process, so only the keys change.
    const start = (names) => provider(issuer, [...clients, ...signers], resources, names.map(key), Boolean(tls)).callback();
    let serving = start(['first']);
    server.on('request', async (request, response) => {
      if (request.method !== 'PUT' || request.url !== '/keys') return serving(request, response);
      serving = start(await json(request));
      response.writeHead(204).end();
    });
    console.log(JSON.stringify({ issuer }));
  });
}

const keys = new Map();

// The private key of this name, which is made when it is first named.
function key(name) {
  if (!keys.has(name)) {
    const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
    keys.set(name, { ...privateKey.export({ format: 'jwk' }), alg: 'RS256', use: 'sig' });
  }
  return keys.get(name);
}

const nonceSecret = randomBytes(32);

function provider(issuer, clients, resources, keys, hasTls) {
  return new Provider(issuer, {
    clients: clients.map(({ id, secret, method = 'client_secret_basic', key, bound }) => ({
      client_id: id,
      ...(secret && { client_secret: secret }),
      ...(key && { jwks: { keys: [key] } }),
      token_endpoint_auth_method: method,
      ...(bound && { tls_client_certificate_bound_access_tokens: true }),
      grant_types: ['client_credentials'],
      redirect_uris: [],
      response_types: [],
    })),
    jwks: { keys },
    scopes: ['read'],
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      dPoP: { enabled: true, nonceSecret, requireNonce: () => true },
      mTLS: {
        enabled: hasTls,
        certificateBoundAccessTokens: hasTls,
        getCertificate: (context) => context.socket.getPeerX509Certificate(),
      },
      introspection: { enabled: true },
      // For clients that accept it (RFC 9701), with RS256.
      jwtIntrospection: { enabled: true },
      revocation: { enabled: true },
      resourceIndicators: {
        enabled: true,
        getResourceServerInfo: (_, resource) => {
          if (!Object.hasOwn(resources, resource)) throw new errors.InvalidTarget();
          return { audience: resource, scope: 'read', accessTokenFormat: resources[resource] };
        },
      },
    },
  });
}

serve(JSON.parse(process.env.CONFIGURATION));
