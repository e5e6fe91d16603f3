// node-oidc-provider with client credentials, introspection, signed too, revocation and resource indicators, for one
// test.
//
// Its configuration is JSON in the variable CONFIGURATION; it prints its issuer in one line of JSON.
import { generateKeyPairSync } from 'node:crypto';
import { readFileSync } from 'node:fs';
import http from 'node:http';
import https from 'node:https';

import { Provider, errors } from 'oidc-provider';

// clients: [{ id, secret }]; signers: [{ id, method, secret or key }]; resources: { URI: 'opaque' or 'jwt' }; tls: { certificate, key }, two paths, or none.
function serve({ clients, signers, resources, tls }) {
  const server = tls
    ? https.createServer({ cert: readFileSync(tls.certificate), key: readFileSync(tls.key) })
    : http.createServer();
  server.listen(0, '127.0.0.1', () => {
    const issuer = `${tls ? 'https' : 'http'}://127.0.0.1:${server.address().port}`;
    server.on('request', provider(issuer, [...clients, ...signers], resources).callback());
    console.log(JSON.stringify({ issuer }));
  });
}

function provider(issuer, clients, resources) {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  return new Provider(issuer, {
    clients: clients.map(({ id, secret, method = 'client_secret_basic', key }) => ({
      client_id: id,
      ...(secret && { client_secret: secret }),
      ...(key && { jwks: { keys: [key] } }),
      token_endpoint_auth_method: method,
      grant_types: ['client_credentials'],
      redirect_uris: [],
      response_types: [],
    })),
    jwks: { keys: [{ ...privateKey.export({ format: 'jwk' }), alg: 'RS256', use: 'sig' }] },
    scopes: ['read'],
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
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
