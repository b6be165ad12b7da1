import type {
  IAuthenticateGeneric,
  Icon,
  ICredentialTestRequest,
  ICredentialType,
  INodeProperties,
} from 'n8n-workflow';

/** An API token of one tenant, and where the service answers. */
export class OpencrowWorkloaddApi implements ICredentialType {
  name = 'opencrowWorkloaddApi';

  displayName = 'Opencrow Workloadd API';

  icon: Icon = {
    light: 'file:../icons/opencrow-workloadd.svg',
    dark: 'file:../icons/opencrow-workloadd.dark.svg',
  };

  documentationUrl = 'https://docs.n8n.io/integrations/community-nodes/';

  properties: INodeProperties[] = [
    {
      displayName: 'Base URL',
      name: 'baseUrl',
      type: 'string',
      default: 'http://127.0.0.1:8766',
      required: true,
      description: 'Address of the service, without /api',
    },
    {
      displayName: 'API Token',
      name: 'apiToken',
      type: 'string',
      typeOptions: { password: true },
      default: '',
      required: true,
      description: 'A token made by "workloadd token create", with the scopes that the operations need',
    },
  ];

  authenticate: IAuthenticateGeneric = {
    type: 'generic',
    properties: { headers: { Authorization: '=Bearer {{$credentials.apiToken}}' } },
  };

  test: ICredentialTestRequest = {
    request: { baseURL: '={{$credentials.baseUrl}}', url: '/api/whoami', method: 'GET' },
  };
}
