-- What an administrator of Glewlwyd enters: the OpenID Connect plugin with client credentials, introspection, revocation
-- and resource indicators, and two confidential clients. Run after Glewlwyd's own script, with sqlite3's parameters @issuer,
-- @client, @client_secret, @resource_server, @resource_server_secret, @signing_secret, @resource and
-- @jwt_resource set.
INSERT INTO g_scope (gs_name, gs_display_name, gs_password_required) VALUES ('read', 'read', 0);

INSERT INTO g_plugin_module_instance (gpmi_module, gpmi_name, gpmi_display_name, gpmi_parameters)
VALUES ('oidc', 'oidc', 'oidc', json_object(
  'iss', @issuer,
  'jwt-type', 'sha',
  'jwt-key-size', '256',
  'key', @signing_secret,
  'access-token-duration', 600,
  'refresh-token-duration', 600,
  'code-duration', 600,
  'allow-non-oidc', json('true'),
  'auth-type-client-enabled', json('true'),
  'introspection-revocation-allowed', json('true'),
  -- Clients may authenticate with their secret, ...
  'introspection-revocation-allow-target-client', json('true'),
  -- ... and as there is a scope too, each may ask about the tokens of others.
  'introspection-revocation-auth-scope', json_array('introspection'),
  'resource-allowed', json('true'),
  'resource-scope', json_object('read', json_array(@resource, @jwt_resource))
));

INSERT INTO g_client (gc_client_id, gc_name, gc_confidential) VALUES
  (@client, 'Service A', 1),
  (@resource_server, 'Service B', 1);

INSERT INTO g_client_property (gc_id, gcp_name, gcp_value)
SELECT gc_id, 'client_secret', CASE gc_client_id WHEN @client THEN @client_secret ELSE @resource_server_secret END FROM g_client
UNION ALL SELECT gc_id, 'authorization_type', 'client_credentials' FROM g_client
UNION ALL SELECT gc_id, 'token_endpoint_auth_method', 'client_secret_basic' FROM g_client
UNION ALL SELECT gc_id, 'token_endpoint_auth_method', 'client_secret_post' FROM g_client;

INSERT INTO g_client_scope (gcs_name) VALUES ('read');
INSERT INTO g_client_scope_client (gc_id, gcs_id) SELECT gc_id, gcs_id FROM g_client, g_client_scope WHERE gc_client_id = @client;
